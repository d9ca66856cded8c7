//! Hands out due tracking numbers within each carrier's politeness budget.
