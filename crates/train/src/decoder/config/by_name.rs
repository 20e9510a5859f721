//! A precision as its name, for serde.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};
use vae2x_core::Precision;

pub fn serialize<S: Serializer>(precision: &Precision, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(precision.name())
}

pub fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Precision, D::Error> {
    String::deserialize(from)?.parse().map_err(Error::custom)
}
