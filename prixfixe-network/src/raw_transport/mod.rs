//! placeholder
use crate::server::Start;
use crate::{Service, StartError};

pub(crate) fn start<S: Service>(_start: &Start<'_, S>) -> Result<(), StartError> {
    Err(StartError::EventLoop(
        std::io::ErrorKind::Unsupported.into(),
    ))
}
