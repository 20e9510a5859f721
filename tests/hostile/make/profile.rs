//! A colour profile whose name is as given: a matrix of primaries and a curve.

/// An ICC profile of RGB.
pub fn icc(name: &str) -> Vec<u8> {
    let text: Vec<u8> = name.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let mut description = b"mluc\0\0\0\0".to_vec();
    description.extend([1u32, 12].map(u32::to_be_bytes).concat());
    description.extend(b"enUS");
    description.extend([text.len() as u32, 28].map(u32::to_be_bytes).concat());
    description.extend(text);
    description.resize(description.len().next_multiple_of(4), 0);
    let xyz = |values: [f64; 3]| {
        let fixed = values
            .map(|v| ((v * 65536.0) as i32).to_be_bytes())
            .concat();
        [b"XYZ \0\0\0\0", &fixed[..]].concat()
    };
    let curve = b"curv\0\0\0\0\0\0\0\x01\x01\x80\0\0".to_vec();
    let tags = [
        (b"desc", description.clone()),
        (b"wtpt", xyz([0.9642, 1.0, 0.8249])),
        (b"rXYZ", xyz([0.5, 0.3, 0.02])),
        (b"gXYZ", xyz([0.3, 0.6, 0.1])),
        (b"bXYZ", xyz([0.15, 0.1, 0.7])),
        (b"rTRC", curve.clone()),
        (b"gTRC", curve.clone()),
        (b"bTRC", curve),
        (b"cprt", description),
    ];
    let start = 128 + 4 + 12 * tags.len();
    let (mut table, mut body) = ((tags.len() as u32).to_be_bytes().to_vec(), Vec::<u8>::new());
    for (signature, data) in &tags {
        table.extend(*signature);
        table.extend(
            [(start + body.len()) as u32, data.len() as u32]
                .map(u32::to_be_bytes)
                .concat(),
        );
        body.extend(data);
    }
    let mut bytes = ((start + body.len()) as u32).to_be_bytes().to_vec();
    bytes.extend(b"lcms\x02\x40\0\0mntrRGB XYZ ");
    bytes.extend([0; 12]);
    bytes.extend(b"acsp");
    bytes.extend([0; 28]);
    bytes.extend([0xF6D6u32, 0x10000, 0xD32D].map(u32::to_be_bytes).concat());
    bytes.extend([0; 48]);
    bytes.extend(table);
    bytes.extend(body);
    bytes
}
