-- The newest predictions of the last hour.
SELECT
  prediction_id,
  label,
  ROUND(confidence, 3) AS confidence,
  model_name,
  processing_time_ms,
  processed_at
FROM image_predictions
WHERE processed_at >= TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 1 HOUR)
ORDER BY processed_at DESC, prediction_id
LIMIT 100;
