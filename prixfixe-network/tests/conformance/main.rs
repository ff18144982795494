//! What every transport has to do, run on each of them: a case is a function of the way to run it.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may fail"
)]

mod ends;
mod flow;
mod harness;
mod limits;
mod listeners;
mod starts;
mod stops;
mod succession;
mod toy;
mod turns;
#[cfg(unix)]
mod unix;

/// A test of each case for each way.
macro_rules! conformance {
    ($($subject:ident: $($case:ident),* $(,)?;)*) => {
        conformance!(@way within Within $($subject $($case)*;)*);
        conformance!(@way threads Threads $($subject $($case)*;)*);
        conformance!(@way raw Raw $($subject $($case)*;)*);
    };
    (@way $way:ident $Way:ident $($subject:ident $($case:ident)*;)*) => {
        mod $way {
            $($(
                #[test]
                fn $case() {
                    crate::$subject::$case(crate::harness::Way::$Way);
                }
            )*)*
        }
    };
}

conformance! {
    flow:
        a_session_is_served_in_order,
        an_idle_peer_costs_no_poll,
        a_peer_that_never_reads_is_not_served,
        a_stream_larger_than_all_buffers_arrives_whole,
        an_answer_from_another_thread_wakes_the_session,
        an_answer_slower_than_the_deadline_does_not_spin,
        a_bulk_sender_takes_turns_with_a_small_one;
    ends:
        the_peer_that_is_done_itself_is_not_lingered_for,
        a_last_reply_reaches_a_peer_that_is_still_sending,
        a_peer_that_does_not_close_is_given_up,
        a_peer_that_sends_for_ever_is_given_up,
        a_peer_that_never_takes_its_last_bytes_is_given_up,
        half_close_when_idle_ends_the_session,
        half_close_right_after_data_loses_none_of_it,
        half_close_in_a_line_is_told_to_the_session,
        half_close_behind_a_question_waits_for_the_answer,
        a_peer_that_connects_and_vanishes_leaves_nothing,
        a_peer_that_has_left_gets_no_costly_work,
        a_peer_that_leaves_while_costly_work_waits_gets_none,
        a_reset_drops_the_session,
        a_reset_behind_a_question_is_found_with_the_answer,
        the_deadline_of_an_idle_peer_fires,
        a_deadline_moves_away_with_each_command_and_fires_in_the_end,
        a_panic_in_a_session_is_its_own,
        a_panic_while_a_session_is_made_is_its_own;
    limits:
        a_connection_over_the_limit_is_told_and_closed,
        what_an_over_limit_peer_has_sent_does_not_cost_it_the_reply,
        a_peer_that_has_its_last_reply_has_given_its_place_back,
        peers_that_never_close_keep_no_place,
        peers_that_do_not_close_have_as_many_places_as_are_set,
        connections_wait_while_descriptors_are_short,
        ten_thousand_idle_peers;
    stops:
        shutdown_tells_idle_sessions_and_refuses_new_ones,
        shutdown_waits_for_what_is_under_way,
        shutdown_tells_those_who_stand_in_the_backlog,
        sessions_that_outlast_the_drain_are_dropped,
        abort_drops_all,
        abort_cuts_a_drain_short,
        dropping_the_handle_aborts;
    succession:
        a_socket_that_is_kept_elsewhere_keeps_who_waits_in_it,
        a_successor_beside_it_fails_no_connection,
        who_leaves_serves_on_until_handshakes_are_over,
        a_drain_can_be_cut_short_while_it_leaves;
    turns:
        all_threads_have_their_turns,
        a_thread_that_stands_still_is_waited_for,
        a_stopped_transport_is_not_waited_for;
    unix:
        a_client_of_a_unix_socket_is_served,
        one_too_many_on_a_unix_socket_is_told,
        who_stands_in_the_backlog_of_a_unix_socket_is_told_of_the_end,
        the_file_goes_with_the_transport,
        a_peer_of_a_unix_socket_that_vanishes_drops_its_session,
        a_stream_larger_than_the_buffers_of_a_unix_socket_arrives_whole,
        a_successor_on_a_unix_socket_fails_no_connection;
}
