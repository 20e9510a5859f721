//! Files as people have them, by subject.

mod rgba;
mod to_1x;
