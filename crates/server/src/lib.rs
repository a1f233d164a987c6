//! The control plane: use cases and the doors to them.
