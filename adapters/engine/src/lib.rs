//! The engine that reads and runs declarative carrier adapters.
