-- Milliseconds for an image (decoding and the model), by hour and model: the middle one, and the
-- one that 95 of 100 are not above.
SELECT
  TIMESTAMP_TRUNC(processed_at, HOUR) AS processed_hour,
  model_name,
  COUNT(*) AS images,
  APPROX_QUANTILES(processing_time_ms, 100)[OFFSET(50)] AS p50_ms,
  APPROX_QUANTILES(processing_time_ms, 100)[OFFSET(95)] AS p95_ms,
  MAX(processing_time_ms) AS max_ms
FROM image_predictions
WHERE processing_time_ms IS NOT NULL
GROUP BY processed_hour, model_name
ORDER BY processed_hour, model_name;
