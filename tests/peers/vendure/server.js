// A headless Vendure on SQLite for tests: node server.js PORT DATABASE-FILE. Prints READY when it answers.
const {
  bootstrap, DefaultLogger, dummyPaymentHandler, JobQueueService, LogLevel, TransactionalConnection, Country,
} = require('@vendure/core');
const { populateInitialData } = require('@vendure/core/cli');

const [port, database] = process.argv.slice(2);

const config = {
  apiOptions: { port: +port, hostname: '127.0.0.1', adminListQueryLimit: 1000, shopListQueryLimit: 100 },
  authOptions: {
    tokenMethod: ['bearer'],
    superadminCredentials: { identifier: 'superadmin', password: 'superadmin' },
    requireVerification: false,
    cookieOptions: { secret: 'lab' },
  },
  dbConnectionOptions: {
    type: 'better-sqlite3',
    database,
    synchronize: !process.env.PREPARED,
    logging: false,
    prepareDatabase: db => { db.pragma('journal_mode=WAL'); db.pragma('synchronous=OFF'); },
  },
  logger: new DefaultLogger({ level: LogLevel.Warn }),
  paymentOptions: { paymentMethodHandlers: [dummyPaymentHandler] },
  // What an integrator adds: the company's own codes, which Vendure has no field for.
  customFields: {
    Product: [{ name: 'code', type: 'string', nullable: true, unique: true, public: false }],
    Collection: [
      { name: 'code', type: 'string', nullable: true, unique: true, public: false },
      { name: 'facetValueId', type: 'string', nullable: true, unique: true, public: false },
    ],
  },
};

const basics = {
  defaultLanguage: 'en',
  defaultZone: 'Europe',
  countries: [
    { code: 'ES', name: 'Spain', zone: 'Europe' },
    { code: 'PT', name: 'Portugal', zone: 'Europe' },
    { code: 'FR', name: 'France', zone: 'Europe' },
  ],
  taxRates: [
    { name: 'general', percentage: 21 },
    { name: 'reduced', percentage: 10 },
    { name: 'super-reduced', percentage: 4 },
  ],
  shippingMethods: [{ name: 'Standard', price: 495, taxRate: 21 }],
  paymentMethods: [{
    name: 'Dummy',
    handler: { code: 'dummy-payment-handler', arguments: [{ name: 'automaticSettle', value: 'true' }] },
  }],
  collections: [],
};

(async () => {
  const app = await bootstrap(config);
  if (!await app.get(TransactionalConnection).rawConnection.getRepository(Country).count()) {
    await populateInitialData(app, basics);
  }
  await app.get(JobQueueService).start();
  console.log('READY');
})().catch(error => { console.error(error); process.exit(1); });
