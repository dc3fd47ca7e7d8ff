//! One message to somebody.

use herald_proto::{
    Target,
    id::{self, IdError},
};

use super::{Body, Original};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Send {
    pub to: Target,
    pub body: Body,
    /// None: of a dialect whose own clients get no more of it than all others.
    pub original: Option<Original>,
    pub kind: Option<String>,
    pub durable: bool,
    pub key: Option<String>,
    pub ttl: u32,
    pub copy: bool,
}

impl Send {
    /// The rules that hold in every dialect.
    pub fn check(&self) -> Result<(), IdError> {
        self.to.check()?;
        for (name, label) in [("kind", &self.kind), ("key", &self.key)] {
            if let Some(label) = label {
                id::check(name, label)?;
            }
        }
        if !self.body.content_type.is_empty() {
            id::check("content_type", &self.body.content_type)?;
        }
        Ok(())
    }
}
