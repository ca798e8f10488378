-- What is known of each airport at the end of the UTC day $day. Of flight_events there are the seven days up to and including
-- it, of aircraft the versions as of its end. An airport that stood still on the day has a row all the same.
with events as (
    select
        origin,
        tail_number,
        delay_minutes,
        event_type = 'departure' as departed,
        event_type = 'cancellation' as cancelled,
        event_type = 'arrival' as arrived,
        event_time >= $day as on_day
    from flight_events
),
changed as (
    select tail_number
    from aircraft
    group by tail_number
    having count(distinct carrier) > 1
)
select
    events.origin,
    cast($day as date) as feature_date,
    count(*) filter (departed and on_day) as departures,
    count(*) filter (cancelled and on_day) as cancellations,
    avg(delay_minutes) filter (departed and on_day) as departure_delay_mean,
    quantile_cont(delay_minutes, 0.9) filter (departed and on_day) as departure_delay_p90,
    count(*) filter (departed) as departures_7d,
    avg(cast(cancelled as int)) filter (departed or cancelled) as cancelled_share_7d,
    avg(delay_minutes) filter (departed) as departure_delay_mean_7d,
    quantile_cont(delay_minutes, 0.9) filter (departed) as departure_delay_p90_7d,
    avg(cast(delay_minutes >= 15 as int)) filter (arrived) as late_arrival_share_7d,
    count(distinct events.tail_number) filter (departed and on_day) as aircraft,
    count(distinct changed.tail_number) filter (departed and on_day) as aircraft_changed_carrier
from events
left join changed on changed.tail_number = events.tail_number
group by events.origin
