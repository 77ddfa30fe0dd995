//! A store in a box: a server that answers like a common shop, over its own SQLite file, with faults on demand. Shares no code with `adapter`.
