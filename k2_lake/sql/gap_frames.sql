-- Input: frames (bronze), rejected, holes. Output: how each hole's neighbours came, and what came
-- between them: frames of one connection, how many of those were rejected, and when either
-- connection was heard last or first, which tells whether both stood at the same time.
with placed as (
  select h.number, h.earliest, h.latest,
    b.connection_id as before_connection, b.sequence as before_sequence, b.origin as before_origin,
    a.connection_id as after_connection, a.sequence as after_sequence, a.origin as after_origin
  from holes h
  left join frames b on b.epoch = h.before_epoch and b.kafka_partition = h.before_partition
    and b.kafka_offset = h.before_offset
  left join frames a on a.epoch = h.after_epoch and a.kafka_partition = h.after_partition
    and a.kafka_offset = h.after_offset),
sides as (
  select number, earliest, latest, before_connection as connection_id from placed
  union select number, earliest, latest, after_connection from placed),
heard as (
  select s.number, f.connection_id, f.sequence, f.received_at,
    case when x.kafka_offset is null then 0 else 1 end as unread
  from sides s
  join frames f on f.connection_id = s.connection_id
    and f.received_at >= s.earliest and f.received_at <= s.latest
  left join rejected x on x.epoch = f.epoch and x.kafka_partition = f.kafka_partition
    and x.kafka_offset = f.kafka_offset and x.exchange = '{exchange}' and x.kind = 'trades')
select p.number, p.before_connection, p.before_sequence, p.before_origin,
  p.after_connection, p.after_sequence, p.after_origin,
  count(distinct case when h.connection_id = p.before_connection and h.sequence > p.before_sequence
    and h.sequence < p.after_sequence then h.sequence end) as between_them,
  count(distinct case when h.connection_id = p.before_connection and h.sequence > p.before_sequence
    and h.sequence < p.after_sequence and h.unread = 1 then h.sequence end) as unread,
  max(case when h.connection_id = p.before_connection then h.received_at end) as before_last,
  min(case when h.connection_id = p.after_connection then h.received_at end) as after_first
from placed p
left join heard h on h.number = p.number
group by p.number, p.before_connection, p.before_sequence, p.before_origin,
  p.after_connection, p.after_sequence, p.after_origin
