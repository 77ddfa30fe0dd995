-- The ERP of the demo: the database of a Spanish hardware shop as such programs have them. Amounts and weights are
-- text with a decimal point, so that no binary rounding stands between the ERP and the shop. `modificado` is kept by
-- triggers, in UTC with milliseconds; a change of a child row moves its parent.
CREATE TABLE tipo_iva (codigo TEXT PRIMARY KEY, nombre TEXT NOT NULL, porcentaje TEXT NOT NULL);

CREATE TABLE familia (
  id INTEGER PRIMARY KEY,
  codigo TEXT NOT NULL UNIQUE,
  padre_id INTEGER REFERENCES familia (id),
  nombre_es TEXT NOT NULL,
  nombre_en TEXT NOT NULL,
  orden INTEGER NOT NULL,
  activa INTEGER NOT NULL DEFAULT 1,
  modificado TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);

CREATE TABLE articulo (
  id INTEGER PRIMARY KEY,
  referencia TEXT NOT NULL UNIQUE,
  familia_id INTEGER NOT NULL REFERENCES familia (id),
  nombre_es TEXT NOT NULL,
  nombre_en TEXT NOT NULL,
  descripcion_es TEXT,
  descripcion_en TEXT,
  marca TEXT,
  tipo_iva TEXT NOT NULL REFERENCES tipo_iva (codigo),
  unidad TEXT NOT NULL DEFAULT 'UD',
  unidades_caja INTEGER,
  opcion1 TEXT,                                  -- names of what tells its formats apart: Color, Medida, Formato
  opcion2 TEXT,
  web INTEGER NOT NULL DEFAULT 1,
  baja INTEGER NOT NULL DEFAULT 0,
  modificado TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);

-- What is stocked and priced. A plain article has one format with the article's own reference.
CREATE TABLE formato (
  id INTEGER PRIMARY KEY,
  articulo_id INTEGER NOT NULL REFERENCES articulo (id) ON DELETE CASCADE,
  referencia TEXT NOT NULL UNIQUE,
  ean TEXT,
  valor1 TEXT,
  valor2 TEXT,
  peso TEXT,
  activo INTEGER NOT NULL DEFAULT 1
);
CREATE INDEX formato_articulo ON formato (articulo_id);

CREATE TABLE tarifa (codigo TEXT PRIMARY KEY, nombre TEXT NOT NULL, moneda TEXT NOT NULL, iva_incluido INTEGER NOT NULL);
CREATE TABLE tarifa_linea (
  tarifa TEXT NOT NULL REFERENCES tarifa (codigo),
  formato_id INTEGER NOT NULL REFERENCES formato (id) ON DELETE CASCADE,
  desde INTEGER NOT NULL DEFAULT 1,
  precio TEXT NOT NULL,
  PRIMARY KEY (tarifa, formato_id, desde)
);

CREATE TABLE almacen (codigo TEXT PRIMARY KEY, nombre TEXT NOT NULL);
CREATE TABLE existencia (
  formato_id INTEGER NOT NULL REFERENCES formato (id) ON DELETE CASCADE,
  almacen TEXT NOT NULL REFERENCES almacen (codigo),
  cantidad INTEGER NOT NULL,
  PRIMARY KEY (formato_id, almacen)
);

CREATE TABLE cliente (
  id INTEGER PRIMARY KEY,
  codigo TEXT NOT NULL UNIQUE,
  tipo TEXT NOT NULL CHECK (tipo IN ('F', 'J')), -- persona física or jurídica
  nombre TEXT,
  apellidos TEXT,
  razon_social TEXT,
  nif TEXT,
  email TEXT,
  telefono TEXT,
  idioma TEXT,
  grupo TEXT,
  web INTEGER NOT NULL DEFAULT 1,                -- has, or may have, an account in the shop
  baja INTEGER NOT NULL DEFAULT 0,
  modificado TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);
CREATE TABLE direccion (
  cliente_id INTEGER NOT NULL REFERENCES cliente (id) ON DELETE CASCADE,
  tipo TEXT NOT NULL,                            -- F: invoices, E: deliveries
  nombre TEXT,
  empresa TEXT,
  calle TEXT,
  calle2 TEXT,
  cp TEXT,
  poblacion TEXT,
  provincia TEXT,
  pais TEXT,
  telefono TEXT,
  PRIMARY KEY (cliente_id, tipo)
);

-- Orders. Nothing here forbids to enter one twice: the ERP relies on who enters it, as most do.
CREATE TABLE pedido (
  id INTEGER PRIMARY KEY,
  numero TEXT,                                   -- the ERP's own: PV-00001
  numero_web TEXT NOT NULL,                      -- the shop's
  fecha TEXT NOT NULL,
  estado TEXT NOT NULL DEFAULT 'PENDIENTE',      -- PENDIENTE, PREPARACION, ENVIADO, ANULADO
  cliente_id INTEGER REFERENCES cliente (id),    -- absent for a guest
  email TEXT,
  moneda TEXT NOT NULL,
  iva_incluido INTEGER NOT NULL,
  forma_pago TEXT,
  pagado INTEGER,
  nota TEXT,
  factura_nombre TEXT, factura_empresa TEXT, factura_calle TEXT, factura_cp TEXT, factura_poblacion TEXT,
  factura_provincia TEXT, factura_pais TEXT,
  envio_nombre TEXT, envio_calle TEXT, envio_cp TEXT, envio_poblacion TEXT, envio_provincia TEXT, envio_pais TEXT,
  portes TEXT,
  total_iva TEXT,
  total TEXT NOT NULL,
  modificado TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);
CREATE INDEX pedido_web ON pedido (numero_web);
CREATE TABLE pedido_linea (
  id INTEGER PRIMARY KEY,
  pedido_id INTEGER NOT NULL REFERENCES pedido (id) ON DELETE CASCADE,
  linea_web TEXT NOT NULL,
  referencia TEXT NOT NULL,                       -- as it was sold; the article may have been deleted since
  descripcion TEXT,
  cantidad TEXT NOT NULL,
  precio TEXT NOT NULL,
  total TEXT NOT NULL
);
CREATE INDEX pedido_linea_pedido ON pedido_linea (pedido_id);
CREATE TABLE albaran (
  id INTEGER PRIMARY KEY,
  pedido_id INTEGER NOT NULL REFERENCES pedido (id),
  numero TEXT NOT NULL,
  agencia TEXT NOT NULL,
  seguimiento TEXT NOT NULL,
  fecha TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);
CREATE TABLE factura (
  id INTEGER PRIMARY KEY,
  pedido_id INTEGER NOT NULL REFERENCES pedido (id),
  numero TEXT NOT NULL UNIQUE,
  iva TEXT NOT NULL,
  total TEXT NOT NULL,
  moneda TEXT NOT NULL,
  documento TEXT NOT NULL,                        -- where the customer can fetch the PDF
  fecha TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);

CREATE TRIGGER familia_modificada AFTER UPDATE OF codigo, padre_id, nombre_es, nombre_en, orden, activa ON familia
BEGIN UPDATE familia SET modificado = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') WHERE id = new.id; END;
CREATE TRIGGER articulo_modificado AFTER UPDATE OF referencia, familia_id, nombre_es, nombre_en, descripcion_es,
  descripcion_en, marca, tipo_iva, unidad, unidades_caja, opcion1, opcion2, web, baja ON articulo
BEGIN UPDATE articulo SET modificado = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') WHERE id = new.id; END;
CREATE TRIGGER formato_nuevo AFTER INSERT ON formato
BEGIN UPDATE articulo SET modificado = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') WHERE id = new.articulo_id; END;
CREATE TRIGGER formato_modificado AFTER UPDATE ON formato
BEGIN UPDATE articulo SET modificado = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') WHERE id = new.articulo_id; END;
CREATE TRIGGER formato_borrado AFTER DELETE ON formato
BEGIN UPDATE articulo SET modificado = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') WHERE id = old.articulo_id; END;
CREATE TRIGGER cliente_modificado AFTER UPDATE OF codigo, tipo, nombre, apellidos, razon_social, nif, email, telefono,
  idioma, grupo, web, baja ON cliente
BEGIN UPDATE cliente SET modificado = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') WHERE id = new.id; END;
CREATE TRIGGER direccion_nueva AFTER INSERT ON direccion
BEGIN UPDATE cliente SET modificado = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') WHERE id = new.cliente_id; END;
CREATE TRIGGER direccion_modificada AFTER UPDATE ON direccion
BEGIN UPDATE cliente SET modificado = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') WHERE id = new.cliente_id; END;
CREATE TRIGGER pedido_numero AFTER INSERT ON pedido
BEGIN UPDATE pedido SET numero = printf('PV-%05d', new.id) WHERE id = new.id; END;
CREATE TRIGGER pedido_modificado AFTER UPDATE OF estado, cliente_id, nota, total ON pedido
BEGIN UPDATE pedido SET modificado = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') WHERE id = new.id; END;
CREATE TRIGGER albaran_nuevo AFTER INSERT ON albaran
BEGIN UPDATE pedido SET modificado = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') WHERE id = new.pedido_id; END;

-- The demo's own: which steps of its script are done. A step that changes the ERP marks itself in the same transaction.
CREATE TABLE demo_paso (paso INTEGER PRIMARY KEY, hecho TEXT NOT NULL, nota TEXT);
CREATE TABLE demo_ajuste (nombre TEXT PRIMARY KEY, valor TEXT NOT NULL);
