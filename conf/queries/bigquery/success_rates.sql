-- By day: images, those that have a label, and their share. An image that failed has none; why it
-- failed is in its dead letter and its result on Kafka.
SELECT
  DATE(processed_at) AS processed_day,
  COUNT(*) AS images,
  COUNTIF(label IS NOT NULL) AS classified,
  ROUND(COUNTIF(label IS NOT NULL) / COUNT(*), 4) AS success_rate
FROM image_predictions
GROUP BY processed_day
ORDER BY processed_day;
