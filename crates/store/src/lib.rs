//! Everything that remembers: the only SQL in the product.
