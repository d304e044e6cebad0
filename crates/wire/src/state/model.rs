//! A model of value, as it stands in state and in the control record that puts it into force.

use domain::prediction::{Family, ModelParameters, SpendParameters};

use crate::bin::{Corrupt, Put, Take};

/// Format of a model's bytes.
const FORMAT: u8 = 1;

/// Key of a model in state: versions sort as they rise.
#[must_use]
pub fn model_key(version: u32) -> [u8; 4] {
    version.to_be_bytes()
}

/// The bytes of a model in state.
#[must_use]
pub fn encode_model(model: &ModelParameters) -> Vec<u8> {
    let mut buf = vec![FORMAT];
    put_model(&mut buf, model);
    buf
}

/// Reads what [`encode_model`] wrote.
///
/// # Errors
/// [`Corrupt`]: the bytes are damaged, or of a format that this version does not know.
pub fn decode_model(bytes: &[u8]) -> Result<ModelParameters, Corrupt> {
    let mut from = Take::new(bytes, "a model of value");
    if from.u8()? != FORMAT {
        return Err(from.corrupt("it is of an unknown format version"));
    }
    let model = take_model(&mut from)?;
    from.finish()?;
    Ok(model)
}

/// Appends `model` to `buf`.
pub(crate) fn put_model(buf: &mut Vec<u8>, model: &ModelParameters) {
    let number = |buf: &mut Vec<u8>, value: f64| buf.put_bytes(&value.to_bits().to_be_bytes());
    buf.put_u32(model.version);
    buf.put_u8(match model.family {
        Family::BgNbd => 1,
        Family::MbgNbd => 2,
    });
    for value in [model.r, model.alpha, model.a, model.b] {
        number(buf, value);
    }
    buf.put_opt(model.spend, |buf, spend| {
        for value in [spend.p, spend.q, spend.v] {
            number(buf, value);
        }
    });
}

/// Reads what [`put_model`] wrote.
pub(crate) fn take_model(from: &mut Take<'_>) -> Result<ModelParameters, Corrupt> {
    let number = |from: &mut Take<'_>| Ok(f64::from_bits(u64::from_be_bytes(from.array()?)));
    Ok(ModelParameters {
        version: from.u32()?,
        family: match from.u8()? {
            1 => Family::BgNbd,
            2 => Family::MbgNbd,
            _ => return Err(from.corrupt("it is of an unknown family")),
        },
        r: number(from)?,
        alpha: number(from)?,
        a: number(from)?,
        b: number(from)?,
        spend: from.opt(|from| {
            Ok(SpendParameters {
                p: number(from)?,
                q: number(from)?,
                v: number(from)?,
            })
        })?,
    })
}
