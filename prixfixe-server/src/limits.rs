//! The limits of [`Settings`], for whoever shows them or starts from their defaults.

use std::time::Duration;

use crate::Settings;

/// The limits that [`Settings`] have; each is described at the setter of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// [`Settings::max_connections`].
    pub max_connections: usize,
    /// [`Settings::connections_per_minute`].
    pub connections_per_minute: u32,
    /// [`Settings::messages_per_minute`].
    pub messages_per_minute: u32,
    /// [`Settings::max_idle_commands`].
    pub max_idle_commands: u32,
    /// [`Settings::idle_timeout`].
    pub idle_timeout: Duration,
    /// [`Settings::max_message_size`].
    pub max_message_size: u64,
    /// [`Settings::max_recipients`].
    pub max_recipients: usize,
    /// [`Settings::max_errors`].
    pub max_errors: u32,
    /// [`Settings::command_timeout`].
    pub command_timeout: Duration,
    /// [`Settings::min_data_rate`].
    pub min_data_rate: u32,
    /// [`Settings::drain_timeout`].
    pub drain_timeout: Duration,
    /// [`Settings::message_memory`].
    pub message_memory: u64,
}

impl Settings {
    /// The limits as they are set.
    #[must_use]
    pub fn limits(&self) -> Limits {
        let dialogue = &self.dialogue;
        Limits {
            max_connections: self.max_connections,
            connections_per_minute: self.client_limits.connections_per_minute,
            messages_per_minute: self.client_limits.messages_per_minute,
            max_idle_commands: dialogue.max_idle_commands,
            idle_timeout: dialogue.idle_timeout,
            max_message_size: dialogue.max_message_size,
            max_recipients: dialogue.max_recipients,
            max_errors: dialogue.max_errors,
            command_timeout: dialogue.command_timeout,
            min_data_rate: dialogue.min_data_rate,
            drain_timeout: self.drain_timeout,
            message_memory: self.message_memory,
        }
    }
}
