-- Milliseconds for an image (decoding and the model), by hour and model: the middle one, and the
-- one that 95 of 100 are not above. Hours of UTC, as BigQuery's.
SELECT
  date_trunc('hour', processed_at AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' AS processed_hour,
  model_name,
  COUNT(*) AS images,
  quantile_disc(processing_time_ms, 0.50) AS p50_ms,
  quantile_disc(processing_time_ms, 0.95) AS p95_ms,
  MAX(processing_time_ms) AS max_ms
FROM image_predictions
WHERE processing_time_ms IS NOT NULL
GROUP BY processed_hour, model_name
ORDER BY processed_hour, model_name;
