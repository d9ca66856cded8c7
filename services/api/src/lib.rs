//! The HTTP interface: registration, look-ups, carriers.
