//! Files as people have them: what each must give.

mod latents;
