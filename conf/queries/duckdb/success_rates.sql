-- By day, in UTC as BigQuery's: images, those that have a label, and their share. An image that
-- failed has none; why it failed is in its dead letter and its result on Kafka.
SELECT
  CAST(processed_at AT TIME ZONE 'UTC' AS DATE) AS processed_day,
  COUNT(*) AS images,
  COUNT(label) AS classified,
  ROUND(COUNT(label) / COUNT(*), 4) AS success_rate
FROM image_predictions
GROUP BY processed_day
ORDER BY processed_day;
