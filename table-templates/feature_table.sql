-- What is known of each user at the end of the day $day, a UTC date.
--
-- The engine shows each table as somebody would have seen it at that moment, whatever this query asks for: of
-- event_stream the events of the template's window, here the seven days up to and including $day; of scd_type2 the
-- versions that had begun, with is_current and valid_to as they were. A wrong name or type here is an error of lint.
with recent as (
    select
        user_id,
        count(*) as events_7d,
        count(*) filter (where event_type = 'purchase') as purchases_7d,
        sum(amount) filter (where event_type = 'purchase') as revenue_7d,
        max(event_timestamp) as last_event
    from event_stream
    where user_id is not null
    group by user_id
)
select
    recent.user_id,
    $day as feature_date,
    recent.events_7d,
    recent.purchases_7d,
    coalesce(recent.revenue_7d, 0) as revenue_7d,
    date_diff('day', cast(recent.last_event as date), $day) as days_since_last_event,
    profile.plan,
    profile.country
from recent
left join scd_type2 as profile on profile.user_id = recent.user_id and profile.is_current
