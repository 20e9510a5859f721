//! Files as people have them, by subject.

mod weights;
