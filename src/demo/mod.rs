//! `vaiven demo`: a hardware shop with its ERP, price and stock files and a sandbox store, and an independent comparison of both sides.
