//! CEL's conversions between kinds: `int`, `uint`, `double` and `string`. A value that the other kind cannot hold is
//! an error and never a rounded or cut one, but for the fraction that `int` and `uint` drop, as CEL says.
//! Used by `eval`.

use super::Fault;
use super::datum::Datum;
use std::rc::Rc;

const UNREADABLE: Fault = Fault::Error("a value in it cannot be converted");

pub(super) fn to_int<'a>(value: &Datum<'a>) -> Result<Datum<'a>, Fault> {
    let int = match value {
        Datum::Int(int) => Some(*int),
        Datum::Uint(uint) => i64::try_from(*uint).ok(),
        Datum::Double(double) => whole(*double).and_then(|whole| i64::try_from(whole).ok()),
        Datum::Time(time) => Some(time.as_second()),
        other => other.text().and_then(|text| text.parse().ok()),
    };
    int.map(Datum::Int).ok_or(UNREADABLE)
}

pub(super) fn to_uint<'a>(value: &Datum<'a>) -> Result<Datum<'a>, Fault> {
    let uint = match value {
        Datum::Int(int) => u64::try_from(*int).ok(),
        Datum::Uint(uint) => Some(*uint),
        Datum::Double(double) => whole(*double).and_then(|whole| u64::try_from(whole).ok()),
        other => other.text().and_then(|text| text.parse().ok()),
    };
    uint.map(Datum::Uint).ok_or(UNREADABLE)
}

#[expect(clippy::cast_precision_loss, reason = "double() of a whole number is the nearest double, as CEL says")]
pub(super) fn to_double<'a>(value: &Datum<'a>) -> Result<Datum<'a>, Fault> {
    let double = match value {
        Datum::Int(int) => Some(*int as f64),
        Datum::Uint(uint) => Some(*uint as f64),
        Datum::Double(double) => Some(*double),
        // "NaN" would be less, equal and greater at once to no number, and slip past every comparison.
        other => other.text().and_then(|text| text.parse().ok()).filter(|double: &f64| double.is_finite()),
    };
    double.map(Datum::Double).ok_or(UNREADABLE)
}

pub(super) fn to_text<'a>(value: &Datum<'a>) -> Result<Datum<'a>, Fault> {
    let text = match value {
        Datum::Text(_) | Datum::Made(_) => return Ok(value.clone()),
        Datum::Bool(flag) => flag.to_string(),
        Datum::Int(int) => int.to_string(),
        Datum::Uint(uint) => uint.to_string(),
        Datum::Double(double) => double.to_string(),
        Datum::Time(time) => time.to_string(),
        _ => return Err(UNREADABLE),
    };
    Ok(Datum::Made(Rc::from(text)))
}

/// The double without its fraction, when a 64-bit number may hold it.
#[expect(clippy::cast_possible_truncation, reason = "below 2^65 in size, so an i128 holds it exactly")]
fn whole(double: f64) -> Option<i128> {
    (double.abs() < 36_893_488_147_419_103_232.0).then_some(double.trunc() as i128)
}
