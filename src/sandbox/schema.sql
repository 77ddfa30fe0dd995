-- The shop's own database. Every object is a row with its id and its document (`doc`, JSON in the words of the REST
-- interface); what somebody may want to look at or compare is a plain column, computed from the document. Prices,
-- totals and weights are text, as the interface shows them; times are UTC, `YYYY-MM-DDTHH:MM:SS`; booleans are 0 and 1.
--
--   products      simple and variable products (parent_id 0) and variations (type 'variation', parent_id the product)
--   categories    catalog tree (parent_id 0 at the root)          tags, attributes   likewise flat
--   customers     accounts                                        orders             sales; see order_lines
--   refunds       by order_id                                     notes              order notes by order_id
--   webhooks, deliveries   what is told to whom, and each try     api_keys, nonces   who may come in
--   views: product_categories, product_images, product_meta, customer_meta, order_lines, order_meta, variation_options
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE sequences (name TEXT PRIMARY KEY, last INTEGER NOT NULL);

CREATE TABLE products (
  id INTEGER PRIMARY KEY,
  doc TEXT NOT NULL,
  parent_id INTEGER AS (json_extract(doc, '$.parent_id')),
  type TEXT AS (json_extract(doc, '$.type')),
  status TEXT AS (json_extract(doc, '$.status')),
  name TEXT AS (json_extract(doc, '$.name')),
  slug TEXT AS (json_extract(doc, '$.slug')),
  sku TEXT AS (json_extract(doc, '$.sku')),
  sku_key TEXT AS (lower(trim(json_extract(doc, '$.sku')))),
  gtin TEXT AS (json_extract(doc, '$.global_unique_id')),
  description TEXT AS (json_extract(doc, '$.description')),
  short_description TEXT AS (json_extract(doc, '$.short_description')),
  regular_price TEXT AS (json_extract(doc, '$.regular_price')),
  sale_price TEXT AS (json_extract(doc, '$.sale_price')),
  price TEXT AS (json_extract(doc, '$.price')),
  tax_class TEXT AS (json_extract(doc, '$.tax_class')),
  manage_stock INTEGER AS (json_extract(doc, '$.manage_stock')),
  stock_quantity INTEGER AS (json_extract(doc, '$.stock_quantity')),
  stock_status TEXT AS (json_extract(doc, '$.stock_status')),
  weight TEXT AS (json_extract(doc, '$.weight')),
  created TEXT AS (json_extract(doc, '$.date_created_gmt')),
  modified TEXT AS (json_extract(doc, '$.date_modified_gmt'))
);
CREATE INDEX products_by_sku ON products (sku_key);
CREATE INDEX products_by_parent ON products (parent_id);
CREATE INDEX products_by_modified ON products (modified);

CREATE TABLE categories (
  id INTEGER PRIMARY KEY,
  doc TEXT NOT NULL,
  parent_id INTEGER AS (json_extract(doc, '$.parent')),
  name TEXT AS (json_extract(doc, '$.name')),
  slug TEXT AS (json_extract(doc, '$.slug')),
  description TEXT AS (json_extract(doc, '$.description')),
  menu_order INTEGER AS (json_extract(doc, '$.menu_order'))
);
CREATE TABLE tags (id INTEGER PRIMARY KEY, doc TEXT NOT NULL, parent_id INTEGER AS (0),
  name TEXT AS (json_extract(doc, '$.name')), slug TEXT AS (json_extract(doc, '$.slug')));
CREATE TABLE attributes (id INTEGER PRIMARY KEY, doc TEXT NOT NULL, parent_id INTEGER AS (0),
  name TEXT AS (json_extract(doc, '$.name')), slug TEXT AS (json_extract(doc, '$.slug')));

CREATE TABLE customers (
  id INTEGER PRIMARY KEY,
  doc TEXT NOT NULL,
  email TEXT AS (json_extract(doc, '$.email')),
  email_key TEXT AS (lower(json_extract(doc, '$.email'))),
  username TEXT AS (json_extract(doc, '$.username')),
  role TEXT AS (json_extract(doc, '$.role')),
  first_name TEXT AS (json_extract(doc, '$.first_name')),
  last_name TEXT AS (json_extract(doc, '$.last_name')),
  company TEXT AS (json_extract(doc, '$.billing.company')),
  phone TEXT AS (json_extract(doc, '$.billing.phone')),
  address TEXT AS (json_extract(doc, '$.billing.address_1')),
  postcode TEXT AS (json_extract(doc, '$.billing.postcode')),
  city TEXT AS (json_extract(doc, '$.billing.city')),
  country TEXT AS (json_extract(doc, '$.billing.country')),
  created TEXT AS (json_extract(doc, '$.date_created_gmt')),
  modified TEXT AS (json_extract(doc, '$.date_modified_gmt'))
);
CREATE INDEX customers_by_email ON customers (email_key);

CREATE TABLE orders (
  id INTEGER PRIMARY KEY,
  doc TEXT NOT NULL,
  number TEXT AS (json_extract(doc, '$.number')),
  status TEXT AS (json_extract(doc, '$.status')),
  customer_id INTEGER AS (json_extract(doc, '$.customer_id')),
  email TEXT AS (json_extract(doc, '$.billing.email')),
  currency TEXT AS (json_extract(doc, '$.currency')),
  total TEXT AS (json_extract(doc, '$.total')),
  total_tax TEXT AS (json_extract(doc, '$.total_tax')),
  shipping_total TEXT AS (json_extract(doc, '$.shipping_total')),
  discount_total TEXT AS (json_extract(doc, '$.discount_total')),
  created TEXT AS (json_extract(doc, '$.date_created_gmt')),
  modified TEXT AS (json_extract(doc, '$.date_modified_gmt'))
);
CREATE INDEX orders_by_modified ON orders (modified);

CREATE TABLE refunds (id INTEGER PRIMARY KEY, doc TEXT NOT NULL,
  order_id INTEGER AS (json_extract(doc, '$.order_id')), amount TEXT AS (json_extract(doc, '$.amount')));
CREATE INDEX refunds_by_order ON refunds (order_id);
CREATE TABLE notes (id INTEGER PRIMARY KEY, doc TEXT NOT NULL,
  order_id INTEGER AS (json_extract(doc, '$.order_id')), note TEXT AS (json_extract(doc, '$.note')),
  customer_note INTEGER AS (json_extract(doc, '$.customer_note')));
CREATE INDEX notes_by_order ON notes (order_id);

CREATE TABLE webhooks (id INTEGER PRIMARY KEY, doc TEXT NOT NULL,
  topic TEXT AS (json_extract(doc, '$.topic')), status TEXT AS (json_extract(doc, '$.status')));
CREATE TABLE deliveries (id INTEGER PRIMARY KEY, webhook_id INTEGER NOT NULL, topic TEXT NOT NULL,
  resource_id INTEGER NOT NULL, at TEXT NOT NULL, answer INTEGER);
CREATE TABLE api_keys (consumer_key TEXT PRIMARY KEY, consumer_secret TEXT NOT NULL, permissions TEXT NOT NULL);
CREATE TABLE nonces (consumer_key TEXT NOT NULL, nonce TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (consumer_key, nonce));
CREATE TABLE tax_rates (class TEXT NOT NULL, country TEXT NOT NULL, state TEXT NOT NULL, percent TEXT NOT NULL,
  name TEXT NOT NULL, id INTEGER PRIMARY KEY);

CREATE VIEW product_categories AS
  SELECT p.id AS product_id, json_extract(c.value, '$.id') AS category_id, c.key AS position
  FROM products p, json_each(p.doc, '$.categories') c;
CREATE VIEW product_images AS
  SELECT p.id AS product_id, json_extract(i.value, '$.id') AS image_id, i.key AS position,
    json_extract(i.value, '$.source') AS source, json_extract(i.value, '$.alt') AS alt
  FROM products p, json_each(p.doc, '$.images') i;
CREATE VIEW variation_options AS
  SELECT p.id AS variation_id, json_extract(a.value, '$.name') AS name, json_extract(a.value, '$.option') AS value
  FROM products p, json_each(p.doc, '$.attributes') a WHERE p.type = 'variation';
CREATE VIEW product_meta AS
  SELECT p.id AS product_id, json_extract(m.value, '$.key') AS key, json_extract(m.value, '$.value') AS value
  FROM products p, json_each(p.doc, '$.meta_data') m;
CREATE VIEW customer_meta AS
  SELECT c.id AS customer_id, json_extract(m.value, '$.key') AS key, json_extract(m.value, '$.value') AS value
  FROM customers c, json_each(c.doc, '$.meta_data') m;
CREATE VIEW order_meta AS
  SELECT o.id AS order_id, json_extract(m.value, '$.key') AS key, json_extract(m.value, '$.value') AS value
  FROM orders o, json_each(o.doc, '$.meta_data') m;
CREATE VIEW order_lines AS
  SELECT o.id AS order_id, json_extract(l.value, '$.id') AS id, json_extract(l.value, '$.sku') AS sku,
    json_extract(l.value, '$.name') AS name, json_extract(l.value, '$.product_id') AS product_id,
    json_extract(l.value, '$.variation_id') AS variation_id, json_extract(l.value, '$.quantity') AS quantity,
    json_extract(l.value, '$.subtotal') AS subtotal, json_extract(l.value, '$.total') AS total,
    json_extract(l.value, '$.total_tax') AS total_tax
  FROM orders o, json_each(o.doc, '$.line_items') l;
