-- What is known of each user at the end of the day $day. Only what happened before that moment is read:
-- events up to it, and the version of the profile that held then.
with recent as (
    select
        user_id,
        count(*) as events_7d,
        count(*) filter (where event_type = 'purchase') as purchases_7d,
        sum(amount) filter (where event_type = 'purchase') as revenue_7d,
        max(event_timestamp) as last_event
    from event_stream
    where user_id is not null
      and event_timestamp >= cast($day as date) - interval 6 day
      and event_timestamp < cast($day as date) + interval 1 day
    group by user_id
)
select
    recent.user_id,
    cast($day as date) as feature_date,
    recent.events_7d,
    recent.purchases_7d,
    coalesce(recent.revenue_7d, 0) as revenue_7d,
    date_diff('day', cast(recent.last_event as date), cast($day as date)) as days_since_last_event,
    profile.plan,
    profile.country
from recent
left join scd_type2 as profile
    on profile.user_id = recent.user_id
   and profile.valid_from < cast($day as date) + interval 1 day
   and (profile.valid_to is null or profile.valid_to >= cast($day as date) + interval 1 day)
