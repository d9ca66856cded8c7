//! Runs carrier adapters against carriers, politely, and answers every request once.
