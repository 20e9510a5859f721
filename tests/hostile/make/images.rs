//! WebP, BMP, JPEG and EXR, as small as a claim of any size can be made.

/// A lossless WebP of one colour, in any size.
pub fn webp(width: u32, height: u32) -> Vec<u8> {
    let mut bits: Vec<u8> = Vec::new();
    let mut put = |value: u32, count: u32| bits.extend((0..count).map(|i| (value >> i & 1) as u8));
    put(0x2f, 8);
    put(width - 1, 14);
    put(height - 1, 14);
    // No alpha, version 0, no transform, no colour cache, one group of codes.
    for (value, count) in [(0, 1), (0, 3), (0, 1), (0, 1), (0, 1)] {
        put(value, count);
    }
    // Codes of one symbol, which take no bits: green, red, blue, alpha, distance.
    for symbol in [200, 10, 50, 255, 0] {
        for (value, count) in [(1, 1), (0, 1), (1, 1), (symbol, 8)] {
            put(value, count);
        }
    }
    put(0, 32);
    let mut data: Vec<u8> = bits
        .chunks(8)
        .map(|byte| byte.iter().enumerate().map(|(i, bit)| bit << i).sum())
        .collect();
    data.resize(data.len().next_multiple_of(2), 0);
    let size = |n: usize| (n as u32).to_le_bytes();
    [
        b"RIFF",
        &size(12 + data.len())[..],
        b"WEBPVP8L",
        &size(data.len()),
        &data,
    ]
    .concat()
}

fn bmp(
    width: i32,
    height: i32,
    [depth, compression, colours]: [u32; 3],
    body: &[u8],
    data: usize,
) -> Vec<u8> {
    let offset = 54 + 4 * colours;
    let mut bytes = b"BM".to_vec();
    for value in [54 + body.len() as u32, 0, offset, 40] {
        bytes.extend(value.to_le_bytes());
    }
    bytes.extend(width.to_le_bytes());
    bytes.extend(height.to_le_bytes());
    for value in [1 | depth << 16, compression, data as u32, 0, 0, colours, 0] {
        bytes.extend(value.to_le_bytes());
    }
    bytes.extend_from_slice(body);
    bytes
}

/// A BMP of 24 bits without compression.
pub fn bmp_raw(width: i32, height: i32, data: &[u8]) -> Vec<u8> {
    bmp(width, height, [24, 0, 0], data, data.len())
}

/// A BMP of 8 bits with run lengths.
pub fn bmp_runs(width: i32, height: i32, data: &[u8]) -> Vec<u8> {
    bmp(
        width,
        height,
        [8, 1, 256],
        &[&[0; 1024], data].concat(),
        data.len(),
    )
}

/// Run lengths that end at once: all black.
pub const NO_RUNS: &[u8] = &[0, 1];

/// A JPEG whose tables have one code each.
pub struct Jpeg<'a> {
    pub width: u16,
    pub height: u16,
    pub components: u8,
    /// The marker of the frame: 0xC0 is baseline.
    pub frame: u8,
    pub precision: u8,
    pub scan: &'a [u8],
    pub end: bool,
    /// Segments at the start.
    pub extra: Vec<u8>,
}

impl Jpeg<'_> {
    pub fn of(width: u16, height: u16) -> Self {
        Jpeg {
            width,
            height,
            components: 1,
            frame: 0xC0,
            precision: 8,
            scan: &[0],
            end: true,
            extra: Vec::new(),
        }
    }

    /// The segment that gives the size.
    pub fn frame_segment(&self) -> Vec<u8> {
        let mut data = vec![self.precision];
        data.extend(self.height.to_be_bytes());
        data.extend(self.width.to_be_bytes());
        data.push(self.components);
        data.extend((1..=self.components).flat_map(|i| [i, 0x11, 0]));
        segment(self.frame, &data)
    }

    pub fn write(&self) -> Vec<u8> {
        let quantization = segment(0xDB, &[&[0][..], &[16; 64]].concat());
        let code = |class: u8| {
            let mut table = vec![class, 0, 1];
            table.resize(17, 0);
            table.push(0);
            segment(0xC4, &table)
        };
        let mut scan = vec![self.components];
        scan.extend((1..=self.components).flat_map(|i| [i, 0]));
        scan.extend([0, 0x3f, 0]);
        let end: &[u8] = if self.end { b"\xff\xd9" } else { b"" };
        [
            b"\xff\xd8",
            &self.extra[..],
            &quantization,
            &self.frame_segment(),
            &code(0),
            &code(0x10),
            &segment(0xDA, &scan),
            self.scan,
            end,
        ]
        .concat()
    }
}

fn segment(marker: u8, data: &[u8]) -> Vec<u8> {
    [
        &[0xff, marker][..],
        &(data.len() as u16 + 2).to_be_bytes(),
        data,
    ]
    .concat()
}

/// An EXR of `f32`, without compression.
pub struct Exr {
    /// Left, top, right, bottom of the data, the last inside.
    pub data: [i32; 4],
    pub display: [i32; 4],
    pub channels: &'static str,
    /// Values of a row, all channels.
    pub row: Vec<f32>,
    /// Attributes at the end of the header.
    pub attributes: Vec<u8>,
}

impl Exr {
    /// A grey image of 16x16.
    pub fn square() -> Self {
        Self::filled(0.5)
    }

    /// A 16x16 image of one value.
    pub fn filled(value: f32) -> Self {
        let window = [0, 0, 15, 15];
        Self {
            data: window,
            display: window,
            channels: "BGR",
            row: vec![value; 48],
            attributes: Vec::new(),
        }
    }

    /// One pixel of data in a larger image.
    pub fn window(right: i32, bottom: i32) -> Self {
        Self {
            data: [0; 4],
            display: [0, 0, right, bottom],
            row: vec![0.5; 3],
            ..Self::square()
        }
    }

    pub fn write(&self) -> Vec<u8> {
        let mut channels = Vec::new();
        for name in self.channels.bytes() {
            channels.extend([name, 0]);
            channels.extend([2u32, 0, 1, 1].map(u32::to_le_bytes).concat());
        }
        channels.push(0);
        let window = |w: [i32; 4]| w.map(i32::to_le_bytes).concat();
        let one = 1f32.to_le_bytes();
        let mut bytes = b"\x76\x2f\x31\x01\x02\0\0\0".to_vec();
        for (name, kind, value) in [
            ("channels", "chlist", &channels[..]),
            ("compression", "compression", &[0]),
            ("dataWindow", "box2i", &window(self.data)),
            ("displayWindow", "box2i", &window(self.display)),
            ("lineOrder", "lineOrder", &[0]),
            ("pixelAspectRatio", "float", &one),
            ("screenWindowCenter", "v2f", &[0; 8]),
            ("screenWindowWidth", "float", &one),
        ] {
            bytes.extend(format!("{name}\0{kind}\0").bytes());
            bytes.extend((value.len() as u32).to_le_bytes());
            bytes.extend_from_slice(value);
        }
        bytes.extend(&self.attributes);
        bytes.push(0);
        self.rows(&mut bytes);
        bytes
    }

    /// The table of where rows are, and the rows; nothing of those too many to be written.
    fn rows(&self, bytes: &mut Vec<u8>) {
        let [_, top, _, bottom] = self.data;
        let rows = i64::from(bottom) - i64::from(top) + 1;
        if !(0..=5000).contains(&rows) {
            return;
        }
        let values: Vec<u8> = self.row.iter().flat_map(|v| v.to_le_bytes()).collect();
        let start = bytes.len() + 8 * rows as usize;
        for y in 0..rows as usize {
            bytes.extend(((start + y * (8 + values.len())) as u64).to_le_bytes());
        }
        for y in 0..rows as i32 {
            bytes.extend((top + y).to_le_bytes());
            bytes.extend((values.len() as u32).to_le_bytes());
            bytes.extend(&values);
        }
    }
}
