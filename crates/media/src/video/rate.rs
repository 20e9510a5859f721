//! Frame rates as fractions, as video files store them.

use std::fmt;
use std::str::FromStr;

/// Frames per second, as a fraction in lowest terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    frames: u32,
    seconds: u32,
}

impl Rate {
    /// The rate that Wan's clips are trained at.
    pub const WAN: Self = Self {
        frames: 16,
        seconds: 1,
    };
    /// Frames per second beyond any camera or screen.
    const MAX: u32 = 1000;
    /// The most seconds of a frame; formats count them in few bits.
    const SLOWEST: u64 = 100;

    /// A fraction; `None` unless it is from 0.01 to 1000.
    pub fn new(frames: u32, seconds: u32) -> Option<Self> {
        let (wide, most) = (u64::from(frames), u64::from(Self::MAX));
        let is_usable = seconds > 0
            && wide <= most * u64::from(seconds)
            && wide * Self::SLOWEST >= u64::from(seconds);
        is_usable.then(|| {
            let divisor = greatest_common_divisor(frames, seconds);
            Self {
                frames: frames / divisor,
                seconds: seconds / divisor,
            }
        })
    }

    /// Numerator and denominator.
    pub fn fraction(self) -> (u32, u32) {
        (self.frames, self.seconds)
    }

    /// Frames per second.
    pub fn per_second(self) -> f64 {
        f64::from(self.frames) / f64::from(self.seconds)
    }

    /// The nearest of the usual rates (24000/1001 and so on) or a fraction of thousandths; `None` out of range.
    pub fn from_f64(rate: f64) -> Option<Self> {
        /// NTSC's rates are these times 1000/1001.
        const NTSC: [u32; 5] = [24, 30, 48, 60, 120];
        if !(rate > 0.0 && rate <= f64::from(Self::MAX)) {
            return None;
        }
        for whole in NTSC {
            let exact = f64::from(whole) * 1000.0 / 1001.0;
            if (rate - exact).abs() < 0.005 {
                return Self::new(whole * 1000, 1001);
            }
        }
        Self::new((rate * 1000.0).round() as u32, 1000)
    }
}

impl Default for Rate {
    fn default() -> Self {
        Self::WAN
    }
}

impl fmt::Display for Rate {
    /// `16`, `23.976` or `30000/1001`: whole numbers and short decimals as such, others as a fraction.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.seconds {
            1 => write!(f, "{}", self.frames),
            2 | 4 | 5 | 8 | 10 | 20 | 25 | 40 | 50 | 100 | 125 | 200 | 250 | 500 | 1000 => {
                write!(f, "{}", self.per_second())
            }
            _ => write!(f, "{}/{}", self.frames, self.seconds),
        }
    }
}

impl FromStr for Rate {
    type Err = String;

    /// `16`, `23.976` or `30000/1001`.
    fn from_str(text: &str) -> Result<Self, String> {
        let rate = match text.split_once(['/', ':']) {
            Some((frames, seconds)) => (frames.trim().parse().ok())
                .zip(seconds.trim().parse().ok())
                .and_then(|(frames, seconds)| Self::new(frames, seconds)),
            None => text.trim().parse().ok().and_then(Self::from_f64),
        };
        rate.ok_or_else(|| "expected frames per second, such as 16, 23.976 or 30000/1001".into())
    }
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    match b {
        0 => a,
        b => greatest_common_divisor(b, a % b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_and_shown_as_people_write_them() {
        let shown = |text: &str| text.parse::<Rate>().map(|rate| rate.to_string());
        assert_eq!(shown("16").unwrap(), "16");
        assert_eq!(shown("12.5").unwrap(), "12.5");
        assert_eq!(shown("23.976").unwrap(), "24000/1001");
        assert_eq!(shown("29.97").unwrap(), "30000/1001");
        assert_eq!(shown("60000/2002").unwrap(), "30000/1001");
        assert_eq!(shown("50:2").unwrap(), "25");
        assert_eq!(shown("1000").unwrap(), "1000");
        for wrong in [
            "",
            "0",
            "-1",
            "nan",
            "inf",
            "1/0",
            "0/1",
            "1e9",
            "0.009",
            "1/101",
            "1/4294967295",
            "1001",
            "x",
            "1/2/3",
        ] {
            assert!(shown(wrong).is_err(), "{wrong}");
        }
    }
}
