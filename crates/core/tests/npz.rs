//! Archives of npy files: stored and deflated ones give the same values, and damaged ones an error.

use vae2x_core::weights::{DType, Format, TensorFile};
use vae2x_core::{Array, Error};
use vae2x_testkit::files::*;

fn open(bytes: Vec<u8>) -> Result<TensorFile, Error> {
    TensorFile::from_bytes("given", bytes)
}

#[track_caller]
fn refused(bytes: Vec<u8>) -> String {
    let file = open(bytes);
    let read = file.and_then(|f| f.tensors().keys().try_for_each(|n| f.read(n).map(drop)));
    read.unwrap_err().to_string()
}

#[track_caller]
fn assert_says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "expected '{part}' in: {message}");
    }
}

fn header(descr: &str, fortran: bool, shape: &str) -> String {
    let order = if fortran { "True" } else { "False" };
    format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}\n")
}

fn npy_of(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    npy(1, &header(descr, false, shape), data)
}

/// 4000 different values.
fn ramp() -> Array {
    Array::new(
        [4, 10, 100],
        (0..4000).map(|i| (i as f32 * 0.37).sin()).collect(),
    )
    .unwrap()
}

#[test]
fn stored_and_deflated_arrays_are_read_in_every_way() {
    let latent = npy_of("<f4", "(4, 10, 100)", &floats(ramp().data()));
    let size = npy_of("<i8", "(2,)", &[320i64, 512].map(i64::to_le_bytes).concat());
    let files: [(&str, &[u8]); 2] = [("latents_10x100.npy", &latent), ("size.npy", &size)];
    for bytes in [archive(&files), deflated_archive(&files)] {
        let file = open(bytes).unwrap();
        assert_eq!(file.format(), Format::Npz);
        let names: Vec<_> = file.tensors().keys().collect();
        assert_eq!(names, ["latents_10x100", "size"]);
        let read = file.read("latents_10x100").unwrap();
        assert_eq!(read, ramp());
        assert_eq!(file.read("size").unwrap().data(), [320.0, 512.0]);
        let slice = file.read_slice("latents_10x100", &[Some(2), None, Some(7)]);
        let want: Vec<f32> = (0..10)
            .map(|y| read.data()[(2 * 10 + y) * 100 + 7])
            .collect();
        assert_eq!(slice.unwrap().data(), want);
        let frame = file.read_frame("latents_10x100", 3).unwrap();
        assert_eq!(frame.shape(), [4, 100]);
        assert_eq!(frame.data()[100..200], read.data()[1300..1400]);
        let (dtype, shape, bytes) = file.read_bytes("latents_10x100").unwrap();
        assert_eq!((dtype, &shape[..]), (DType::F32, &[4, 10, 100][..]));
        assert_eq!(bytes, floats(ramp().data()));
    }
}

#[test]
fn halves_in_fortran_order_are_read_deflated() {
    // Column by column: [[0, 1, 2], [3, 4, 5]].
    let halves = [0.0, 3.0, 1.0, 4.0, 2.0, 5.0].map(half::f16::from_f32);
    let data: Vec<u8> = halves.iter().flat_map(|v| v.to_le_bytes()).collect();
    let array = npy(1, &header("<f2", true, "(2, 3)"), &data);
    let file = open(deflated_archive(&[("a.npy", &array)])).unwrap();
    assert_eq!(
        file.read("a").unwrap(),
        Array::new([2, 3], vec![0., 1., 2., 3., 4., 5.]).unwrap()
    );
}

#[test]
fn arrays_of_other_types_are_listed_and_leave_the_rest_readable() {
    let values = npy_of("<f4", "(2,)", &floats(&[1.0, 2.0]));
    let text = npy_of("<U3", "()", &[0; 12]);
    let objects = npy_of("|O", "(1,)", b"\x80\x02N.");
    let file = open(archive(&[
        ("path.npy", &text),
        ("latents.npy", &values),
        ("meta.npy", &objects),
        ("notes.txt", b"not an array"),
    ]))
    .unwrap();
    assert_eq!(file.read("latents").unwrap().data(), [1.0, 2.0]);
    let unread: Vec<_> = file.unread().iter().collect();
    assert_eq!(
        format!("{unread:?}"),
        r#"[("meta", "|O"), ("path", "<U3")]"#
    );
    assert_says(
        &refused(archive(&[("path.npy", &text)])),
        &["given: array 'path'", "'<U3'"],
    );
}

#[test]
fn damaged_archives_are_refused() {
    let good = npy_of("<f4", "(4, 10, 100)", &floats(ramp().data()));
    let short = npy_of("<f4", "(4, 10, 101)", &floats(ramp().data()));
    for make in [archive, deflated_archive] {
        assert_says(
            &refused(make(&[("a.npy", &short)])),
            &["array 'a'", "16160 bytes", "found 16000"],
        );
        assert_says(
            &refused(make(&[("a.npy", &good[..40])])),
            &["array 'a'", "truncated in the npy header"],
        );
        assert_says(&refused(make(&[("a.npy", b"")])), &["not an npy file"]);
    }
    let bytes = deflated_archive(&[("a.npy", &good)]);
    for at in (200..bytes.len() - 200).step_by(997) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        assert_says(&refused(damaged), &["given: ", "deflated data"]);
    }
}

#[test]
fn stored_arrays_are_checked_before_any_part_is_read() {
    let good = npy_of("<f4", "(4, 10, 100)", &floats(ramp().data()));
    let bytes = archive(&[("a.npy", &good), ("b.npy", &good)]);
    let last_of_a = bytes.len() / 2 - 200;
    let mut damaged = bytes.clone();
    damaged[last_of_a] ^= 1;
    let file = open(damaged).unwrap();
    let said = |error: Error| assert_says(&error.to_string(), &["given: damaged", "checksum"]);
    said(file.read("a").unwrap_err());
    said(file.read_slice("a", &[Some(0), None, None]).unwrap_err());
    said(file.read_bytes("a").unwrap_err());
    assert_eq!(file.read("b").unwrap(), ramp());
    assert_eq!(file.read("b").unwrap(), ramp());
}

#[test]
fn big_endian_arrays_are_refused_as_such() {
    let array = npy_of(">f4", "(2,)", &[0; 8]);
    for bytes in [archive(&[("a.npy", &array)]), array] {
        assert_says(&refused(bytes), &["big-endian", "'>f4'", "astype('<f4')"]);
    }
}

/// A deflated archive whose directory gives another size for the array.
fn with_size(array: &[u8], size: usize) -> Vec<u8> {
    let mut bytes = deflated_archive(&[("a.npy", array)]);
    let (found, wanted) = (array.len() as u32, size as u32);
    let mut places = (0..bytes.len() - 4).rev();
    let at = places.find(|&i| bytes[i..i + 4] == found.to_le_bytes());
    let at = at.expect("the directory has the size");
    bytes[at..at + 4].copy_from_slice(&wanted.to_le_bytes());
    bytes
}

#[test]
fn an_array_that_unpacks_to_far_more_than_the_file_is_refused_before_it_is_unpacked() {
    let count = 1usize << 28;
    let array = npy_of("<f4", &format!("({count},)"), &[0; 1 << 16]);
    let size = array.len() - (1 << 16) + 4 * count;
    let message = open(with_size(&array, size)).map(drop).unwrap_err();
    assert_says(
        &message.to_string(),
        &["array 'a'", &size.to_string(), "at most 268435456"],
    );
}

#[test]
fn a_directory_that_lies_about_a_size_is_found_out() {
    let array = npy_of("<f4", "(1000,)", &floats(&[1.5; 1000]));
    let longer = refused(with_size(&array, array.len() + 4));
    assert_says(&longer, &["array 'a'", "ends after 4071 of 4075 bytes"]);
    let shorter = refused(with_size(&array, array.len() - 4));
    assert_says(&shorter, &["array 'a'", "4000 bytes", "found 3996"]);
}
