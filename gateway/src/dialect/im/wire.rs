//! Protobuf on the level of the wire: what is not known passes through as it came.

use bytes::Bytes;

/// A field of a message.
pub struct Field<'a> {
    pub number: u32,
    pub value: Value<'a>,
    /// All its bytes.
    pub whole: &'a [u8],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    /// Of four or eight bytes.
    Fixed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a protobuf message")]
pub struct Broken;

/// The fields of a message in their order.
pub struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub fn of(message: &'a [u8]) -> Self {
        Self(message)
    }

    fn read(&mut self) -> Result<Field<'a>, Broken> {
        let begin = self.0;
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).map_err(|_| Broken)?;
        // The numbers that the encoding has room for.
        if !(1..1 << 29).contains(&number) {
            return Err(Broken);
        }
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => self.fixed(8)?,
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| Broken)?;
                Value::Bytes(self.take(length)?)
            }
            5 => self.fixed(4)?,
            // Groups, which nobody has written for twenty years, and what is no type at all.
            _ => return Err(Broken),
        };
        let whole = &begin[..begin.len() - self.0.len()];
        Ok(Field { number, value, whole })
    }

    fn fixed(&mut self, bytes: usize) -> Result<Value<'a>, Broken> {
        self.take(bytes)?;
        Ok(Value::Fixed)
    }

    fn take(&mut self, bytes: usize) -> Result<&'a [u8], Broken> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or(Broken)?;
        self.0 = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64, Broken> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                // The tenth byte has room for one bit.
                return if shift == 63 && byte > 1 {
                    Err(Broken)
                } else {
                    Ok(value)
                };
            }
        }
        Err(Broken)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let read = self.read();
        if read.is_err() {
            self.0 = &[];
        }
        Some(read)
    }
}

pub fn put_varint(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    to.push(value.to_le_bytes()[0]);
}

/// As proto3 does it: what is empty is not there.
pub fn put_bytes(to: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    if !bytes.is_empty() {
        put_varint(to, u64::from(number) << 3 | 2);
        put_varint(to, bytes.len() as u64);
        to.extend_from_slice(bytes);
    }
}

pub fn put_number(to: &mut Vec<u8>, number: u32, value: u32) {
    if value != 0 {
        put_varint(to, u64::from(number) << 3);
        put_varint(to, u64::from(value));
    }
}

/// A message less these fields.
pub fn without(message: &[u8], numbers: &[u32]) -> Bytes {
    let mut rest = Vec::new();
    for field in Fields::of(message).flatten() {
        if !numbers.contains(&field.number) {
            rest.extend_from_slice(field.whole);
        }
    }
    rest.into()
}

/// Puts `fields`, in their order, where they belong into `message`.
pub fn with(to: &mut Vec<u8>, message: &[u8], fields: &[(u32, &[u8])]) {
    let mut fields = fields.iter().peekable();
    for old in Fields::of(message).flatten() {
        while let Some((number, bytes)) = fields.next_if(|(number, _)| *number < old.number) {
            put_bytes(to, *number, bytes);
        }
        to.extend_from_slice(old.whole);
    }
    for (number, bytes) in fields {
        put_bytes(to, *number, bytes);
    }
}
