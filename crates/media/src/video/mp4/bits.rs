//! Bits of H.264's headers (ITU-T H.264, 7.2 and 9.1).

/// Reads bits, the most significant first; `None` behind the last.
#[derive(Debug)]
pub(super) struct Bits {
    bytes: Vec<u8>,
    at: usize,
}

impl Bits {
    /// The payload of a NAL unit, whose first byte is its head. Of long ones only the first part is needed.
    pub fn of_nal(nal: &[u8]) -> Self {
        const NEEDED: usize = 4096;
        let payload = nal.get(1..).unwrap_or_default();
        let mut bytes = Vec::new();
        let mut zeros = 0;
        for &byte in &payload[..payload.len().min(NEEDED)] {
            // Two zeros and a three stand for two zeros.
            if zeros >= 2 && byte == 3 {
                zeros = 0;
                continue;
            }
            zeros = if byte == 0 { zeros + 1 } else { 0 };
            bytes.push(byte);
        }
        Self { bytes, at: 0 }
    }

    pub fn flag(&mut self) -> Option<bool> {
        Some(self.bits(1)? == 1)
    }

    /// An unsigned number of `count` bits, 32 at most.
    pub fn bits(&mut self, count: u32) -> Option<u32> {
        let mut value = 0u64;
        for _ in 0..count {
            let byte = self.bytes.get(self.at / 8)?;
            value = value << 1 | u64::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        u32::try_from(value).ok()
    }

    /// An unsigned number in Exp-Golomb code, `ue(v)`.
    pub fn unsigned(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        let rest = u64::from(self.bits(zeros)?);
        u32::try_from((1u64 << zeros) - 1 + rest).ok()
    }

    /// A signed number in Exp-Golomb code, `se(v)`.
    pub fn signed(&mut self) -> Option<i64> {
        let code = i64::from(self.unsigned()?);
        Some(match code % 2 {
            0 => -(code / 2),
            _ => code / 2 + 1,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_standard() {
        // 1, 010, 011, 00100, then 101 of two more bits.
        let mut bits = Bits::of_nal(&[0, 0b1010_0110, 0b0100_1010]);
        let codes: Vec<_> = (0..4).map(|_| bits.unsigned().unwrap()).collect();
        assert_eq!(codes, [0, 1, 2, 3]);
        assert_eq!(bits.bits(3), Some(0b101));
        assert_eq!(bits.bits(2), None);
        let mut bits = Bits::of_nal(&[0, 0b0100_1100, 0b1000_0101]);
        let codes: Vec<_> = (0..4).map(|_| bits.signed().unwrap()).collect();
        assert_eq!(codes, [1, -1, 2, -2]);
        assert_eq!(Bits::of_nal(&[0, 0, 0, 0, 0, 1]).unsigned(), None);
        assert_eq!(Bits::of_nal(&[0, 0, 0, 3, 1]).bits(24), Some(1));
    }
}
