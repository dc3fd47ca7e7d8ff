//! One suite over both buses: what callers rely on must hold whether a process is alone or NATS carries it all.

#[path = "bus/bounds.rs"]
mod bounds;
#[path = "bus/calls.rs"]
mod calls;
#[path = "bus/events.rs"]
mod events;
#[path = "bus/kv.rs"]
mod kv;
#[path = "bus/log.rs"]
mod log;
#[path = "bus/outage.rs"]
mod outage;
#[path = "bus/pages.rs"]
mod pages;
#[path = "bus/pubsub.rs"]
mod pubsub;
#[path = "bus/purge.rs"]
mod purge;
#[path = "bus/select.rs"]
mod select;
#[path = "bus/watch.rs"]
mod watch;
#[path = "bus/world.rs"]
mod world;

/// Each promise as a test of its own, for each bus.
macro_rules! both_buses {
    ($($module:ident { $($promise:ident)* })*) => {
        mod memory {
            $(mod $module {
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $promise() {
                    crate::$module::$promise(crate::world::World::memory()).await;
                })*
            })*
        }
        mod nats {
            $(mod $module {
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $promise() {
                    crate::$module::$promise(crate::world::World::nats().await).await;
                })*
            })*
        }
    };
}

both_buses! {
    pubsub {
        wildcards_reach_who_asked_for_them
        messages_come_in_order
        a_queue_group_shares_requests
        plain_subscribers_see_requests_too
        no_responder_is_told_at_once
        a_deadline_is_kept
        requests_under_way_come_after_unsubscribing
        too_large_is_refused
        a_call_carries_headers_both_ways
        a_call_that_nobody_serves_is_told_at_once
        late_and_doubled_answers_disturb_nobody
        a_call_keeps_its_deadline_and_its_size
        an_answer_that_is_too_large_is_refused_to_whoever_gives_it
    }
    log {
        every_target_has_one_order_under_concurrency
        live_copies_tell_what_came_before
        a_retry_is_stored_once
        a_target_keeps_its_newest
        what_is_too_old_goes
        newer_names_what_is_newer
        ephemeral_messages_are_not_stored
        ids_of_any_kind_are_kept_apart
        a_dropped_subscription_is_silent
        two_sinks_of_one_target_both_hear
    }
    pages {
        reads_come_in_pages
        reading_back_gives_what_stands_before
        reading_back_finds_its_way_through_bursts
    }
    purge {
        a_purge_takes_one_targets_past_and_nothing_else
        what_comes_after_a_purge_joins_on
    }
    events {
        events_come_back_in_their_one_order
        an_event_that_is_published_again_is_stored_once
        subscribers_hear_events_by_kind
        the_first_event_since_a_time_is_found
    }
    bounds {
        a_full_target_moves_no_bounds
        age_moves_the_bounds
        want_of_room_moves_the_bounds
        the_end_is_certain_and_found_by_time
    }
    kv {
        what_is_put_is_read_until_it_is_deleted
        create_and_update_compare
        a_change_compares_with_what_was_seen
        a_deleted_or_expired_key_can_be_created_again
        of_many_creators_one_wins
        a_refreshed_ttl_begins_anew
    }
    select {
        a_selection_takes_whole_tokens
        a_selection_lacks_what_was_deleted_or_ran_out
        a_selection_of_nothing_tells_no_upto
        thousands_of_prefixes_are_selected
        a_prefix_may_have_thousands_of_keys
        a_selection_is_complete_up_to_what_it_tells
        a_purge_removes_what_matches_for_good
        a_purge_of_some_keys_resets_no_watch
    }
    watch {
        an_empty_bucket_is_current_at_once
        what_stands_is_told_before_current_and_changes_after
        a_prefix_is_whole_tokens
        an_expiry_is_seen
        an_emptied_bucket_resets
        a_large_bucket_is_told_whole
        a_slow_watcher_ends_with_the_truth
    }
}
