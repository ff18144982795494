//! The negotiation: what is offered, and what the milter takes of it.

use crate::macros::{Stage, Wanted};
use crate::packet::{number, text, write};
use crate::{Actions, MilterError, Steps};

/// The version that is spoken here, and the oldest that is taken: an older one has no header
/// fields.
const VERSION: u32 = 6;
const OLDEST: u32 = 2;

pub(crate) const NEGOTIATE: u8 = b'O';

/// Bits of the steps that are about packet sizes (`SMFIP_MDS_…`).
const MDS_256K: u32 = 0x1000_0000;
const MDS_1M: u32 = 0x2000_0000;

/// How much a packet may hold beside its command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
#[non_exhaustive]
pub enum MaxData {
    /// 65,535 bytes: what every milter takes.
    #[default]
    Kib64,
    /// 262,143 bytes.
    Kib256,
    /// 1,048,575 bytes.
    Mib1,
}

impl MaxData {
    pub(crate) const fn bytes(self) -> usize {
        match self {
            Self::Kib64 => (64 << 10) - 1,
            Self::Kib256 => (256 << 10) - 1,
            Self::Mib1 => (1 << 20) - 1,
        }
    }

    const fn bits(self) -> u32 {
        match self {
            Self::Kib64 => 0,
            Self::Kib256 => MDS_256K,
            Self::Mib1 => MDS_256K | MDS_1M,
        }
    }

    const fn of(bits: u32) -> Self {
        match bits {
            _ if bits & MDS_1M != 0 => Self::Mib1,
            _ if bits & MDS_256K != 0 => Self::Kib256,
            _ => Self::Kib64,
        }
    }
}

/// What a milter is offered, and how much it may change. The default is everything, packets of 64
/// KiB, and bodies of 64 MiB.
#[derive(Debug, Clone)]
pub struct Offer {
    pub(crate) actions: Actions,
    pub(crate) steps: Steps,
    pub(crate) max_data: MaxData,
    pub(crate) max_body: u64,
}

impl Default for Offer {
    fn default() -> Self {
        Self {
            actions: Actions::ALL,
            steps: Steps::ALL,
            max_data: MaxData::default(),
            max_body: 64 << 20,
        }
    }
}

impl Offer {
    /// What the milter may do.
    #[must_use]
    pub const fn actions(mut self, actions: Actions) -> Self {
        self.actions = actions;
        self
    }

    /// Which steps it may leave out, or have otherwise.
    #[must_use]
    pub const fn steps(mut self, steps: Steps) -> Self {
        self.steps = steps;
        self
    }

    /// How large the packets may be that it is sent.
    #[must_use]
    pub const fn max_data(mut self, max_data: MaxData) -> Self {
        self.max_data = max_data;
        self
    }

    /// How large a body may be that it gives in place of a message's.
    #[must_use]
    pub const fn max_body(mut self, bytes: u64) -> Self {
        self.max_body = bytes;
        self
    }

    pub(crate) fn write(&self, output: &mut Vec<u8>) {
        let steps = self.steps.bits() | self.max_data.bits();
        let fields = [VERSION, self.actions.bits(), steps].map(u32::to_be_bytes);
        write(output, NEGOTIATE, &[fields.as_flattened()]);
    }
}

/// What was agreed on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Agreed {
    pub(crate) actions: Actions,
    pub(crate) steps: Steps,
    pub(crate) max_data: MaxData,
    pub(crate) macros: Wanted,
}

impl Agreed {
    /// Reads what the milter takes.
    pub(crate) fn read(offer: &Offer, mut fields: &[u8]) -> Result<Self, MilterError> {
        let malformed = MilterError::Malformed(NEGOTIATE);
        let mut next = || number(&mut fields).ok_or(malformed.clone());
        let (version, actions, steps) = (next()?, next()?, next()?);
        if !(OLDEST..=VERSION).contains(&version) {
            return Err(MilterError::Version(version));
        }
        let max_data = steps & (MDS_256K | MDS_1M);
        let actions = Actions::from_bits(actions);
        let steps = Steps::from_bits(steps & !max_data);
        let max_data = MaxData::of(max_data);
        let within = offer.actions.contains(actions) && offer.steps.contains(steps);
        if !within || max_data > offer.max_data {
            return Err(MilterError::NotOffered);
        }
        let mut agreed = Self {
            actions,
            steps,
            max_data,
            macros: Wanted::default(),
        };
        agreed.read_macros(fields)?;
        Ok(agreed)
    }

    /// For each stage that it has wishes for: its number, and names.
    fn read_macros(&mut self, mut fields: &[u8]) -> Result<(), MilterError> {
        while !fields.is_empty() {
            let stage = number(&mut fields);
            let names = text(&mut fields);
            let (Some(stage), Some(names)) = (stage, names) else {
                return Err(MilterError::Malformed(NEGOTIATE));
            };
            let stage = Stage::ALL.into_iter().find(|it| it.number() == stage);
            if let Some(stage) = stage {
                self.macros.set(stage, &String::from_utf8_lossy(names));
            }
        }
        Ok(())
    }
}
