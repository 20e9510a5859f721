//! Pickles that run code, break the machine that reads them, or take memory.

use vae2x_testkit::files::Pickle;

use super::{INFO, file, pickled, refused};
use crate::case::{Case, Either, Error};
use crate::make::tensors::*;

/// `os.system("touch PWNED")` as pickle writes it in a protocol.
fn os_system(protocol: u8) -> Vec<u8> {
    let touch = "touch PWNED";
    let short = |text: &str| [&[0x8c, text.len() as u8], text.as_bytes()].concat();
    let call = match protocol {
        0 => format!("cposix\nsystem\np0\n(V{touch}\np1\ntp2\nRp3\n").into_bytes(),
        1 => [
            b"cposix\nsystem\nq\0(X\x0b\0\0\0",
            touch.as_bytes(),
            b"q\x01tq\x02Rq\x03",
        ]
        .concat(),
        2 | 3 => [
            b"cposix\nsystem\nq\0X\x0b\0\0\0",
            touch.as_bytes(),
            b"q\x01\x85q\x02Rq\x03",
        ]
        .concat(),
        _ => [
            short("posix"),
            short("system"),
            b"\x93".to_vec(),
            short(touch),
            b"\x85R".to_vec(),
        ]
        .concat(),
    };
    let start: &[u8] = if protocol < 2 { &[] } else { &[0x80, protocol] };
    let named: &[u8] = if protocol == 0 {
        b"(dp9\nVx\n"
    } else {
        b"}X\x01\0\0\0x"
    };
    [start, named, &call, b"s."].concat()
}

/// Pickles that name something to run.
pub fn code() -> Vec<Case> {
    let global = |module: &str, name: &str| Pickle::new().name(module, name);
    let call = |module: &str, name: &str| global(module, name).op(b"(").text("1").op(b"tR").stop();
    let no_shell = |room: &crate::room::Room| {
        if room.path("PWNED").exists() {
            Err("code ran".into())
        } else {
            Ok(())
        }
    };
    let mut cases: Vec<Case> = (0..6)
        .map(|protocol| {
            refused(
                &format!("os.system, protocol {protocol}"),
                os_system(protocol),
            )
            .check(move |room, _| no_shell(room))
        })
        .collect();
    let refusing = |name: &str, pickle: Vec<u8>| refused(name, pickle).says("refusing to run code");
    cases.extend([
        refused("os.system", os_system(2)).says("refusing to run code"),
        refusing("eval", call("builtins", "eval")),
        refusing("getattr", global("builtins", "getattr").stop()),
        refused("torch.load", call("torch", "load")),
        refused("torch.hub.load", call("torch.hub", "load")),
        refused(
            "dots in a name",
            global("torch", "_utils._rebuild_tensor_v2").stop(),
        ),
        refusing(
            "escapes in names",
            global("\x1b[31mos\x1b]0;owned\x07", "sys\x1b[2Jtem").stop(),
        ),
        refusing(
            "C1 and right to left in names",
            global("\u{9b}31mos", "sys\u{202e}tem").stop(),
        ),
        refusing(
            "long names",
            global(&"a".repeat(100_000), &"b".repeat(100_000)).stop(),
        ),
        refused("INST", b"(S'x'\nios\nsystem\n.".to_vec()),
        refused("OBJ", pickle(b"(cos\nsystem\nS'x'\no")),
        refused("EXT", pickle(b"\x82\x01")),
        refused(
            "NEWOBJ",
            global("collections", "OrderedDict").op(b")\x81").stop(),
        ),
        refused(
            "NEWOBJ_EX",
            global("collections", "OrderedDict").op(b")}\x92").stop(),
        ),
        refused(
            "STACK_GLOBAL",
            b"\x80\x04\x8c\x02os\x8c\x06system\x93.".to_vec(),
        ),
        refused("REDUCE of an integer", pickle(b"K\x01)R")),
        refused("BUILD of an integer", pickle(b"K\x01}b")),
    ]);
    cases
}

/// Pickles that break the machine that reads them.
pub fn machine() -> Vec<Case> {
    let a = |before: &[u8], after: &[u8]| Pickle::new().op(before).text("a").op(after).stop();
    let dictionaries = {
        let open = (0..20_000).fold(Pickle::new(), |p, _| p.op(b"}").text("a"));
        open.op(b"K\x01").op(&[b's'; 20_000]).stop()
    };
    let mut cases: Vec<Case> = [
        ("empty", vec![]),
        ("STOP alone", b".".to_vec()),
        ("POP of nothing", b"\x80\x020.".to_vec()),
        ("MARK alone", pickle(b"(")),
        ("TUPLE without a mark", pickle(b"t")),
        ("APPENDS to an integer", pickle(b"K\x01(K\x01e")),
        ("SETITEMS of one", pickle(b"}(K\x01u")),
        ("BINGET of nothing", pickle(b"h\x05")),
        ("LONG_BINGET of nothing", pickle(b"j\xff\xff\xff\xff")),
        ("dictionary in itself", a(b"}q\0", b"h\0s")),
        ("list in itself", pickle(b"]q\0h\0a")),
        ("LONG4 of 2 GB", pickle(b"\x8b\0\0\0\x80")),
        (
            "LONG1 of 255 bytes",
            pickle([&b"\x8a\xff"[..], &[0x7f; 255]].concat()),
        ),
        ("text of 4 GB", pickle(b"X\xff\xff\xff\xff")),
        (
            "text of 2^64 bytes",
            pickle([&[0x8d][..], &[0xff; 8]].concat()),
        ),
        ("bytes of 2^64", pickle([&[0x8e][..], &[0xff; 8]].concat())),
        ("protocol 255", b"\x80\xff.".to_vec()),
        ("protocol 0", b"(dp0\nVa\np1\nI1\ns.".to_vec()),
        ("text that is not UTF-8", pickle(b"X\x02\0\0\0\xff\xfe")),
        ("dictionaries 20,000 deep", dictionaries),
        (
            "tuples 150,000 deep",
            pickle([&b"N"[..], &[0x85; 150_000]].concat()),
        ),
        (
            "30,000 PUTs",
            pickle([b"N".to_vec(), puts(30_000)].concat()),
        ),
    ]
    .into_iter()
    .map(|(name, pickle)| refused(name, pickle))
    .collect();
    let frame = [b"\x80\x04\x95", &[0xff; 8][..], &pickle_of("x", &CELL)[2..]].concat();
    cases.push(file("frame of 2^64 bytes", Either, INFO, move || {
        pickled(&frame)
    }));
    cases
}

fn puts(count: u32) -> Vec<u8> {
    (0..count)
        .flat_map(|i| [&b"r"[..], &i.to_le_bytes()].concat())
        .collect()
}

/// Pickles just under the limit of their size, whose machine wants as much memory as it can.
pub fn memory() -> Vec<Case> {
    const LIMIT: usize = (16 << 20) - 64;
    let repeated = |start: &'static [u8], part: &'static [u8]| {
        move || [start, &part.repeat((LIMIT - start.len()) / part.len())].concat()
    };
    let case = |name: &str, body: Box<dyn FnOnce() -> Vec<u8> + Send>| {
        file(format!("16 MB of {name}"), Either, INFO, move || {
            pickled(&pickle(body()))
        })
        .peak(1024)
    };
    let mut cases = vec![
        case("lists", Box::new(repeated(b"", b"]"))),
        case("dictionaries", Box::new(repeated(b"", b"}"))),
        case("marks", Box::new(repeated(b"", b"("))),
        case("tuples of 1", Box::new(repeated(b"N", b"\x85"))),
        case("tuples of 2", Box::new(repeated(b"N", b"N\x86"))),
        case("MEMOIZE", Box::new(repeated(b"N", b"\x94"))),
        case(
            "PUTs",
            Box::new(|| [b"N".to_vec(), puts((LIMIT / 5) as u32)].concat()),
        ),
        case("short texts", Box::new(repeated(b"", b"\x8c\x01a"))),
        case("empty texts", Box::new(repeated(b"", b"\x8c\0"))),
        case(
            "tensors",
            Box::new(|| {
                let first = Pickle::new().tensor(&CELL).op(b"q\x010}(");
                let many = (0..(LIMIT - 400) / 12)
                    .fold(first, |p, i| p.text(&format!("{i:05x}")).op(b"h\x01"));
                many.op(b"u").stop()[2..].to_vec()
            }),
        ),
    ];
    cases.push(file("17 MB of lists", Error, INFO, || {
        pickled(&pickle(vec![b']'; 17 << 20]))
    }));
    cases
}
