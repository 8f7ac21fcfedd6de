-- Each model: how much it has done, how sure it was, how long it took.
SELECT
  model_name,
  COUNT(*) AS prediction_count,
  AVG(confidence) AS avg_confidence,
  AVG(processing_time_ms) AS avg_processing_ms,
  MIN(processed_at) AS first_prediction,
  MAX(processed_at) AS last_prediction
FROM image_predictions
GROUP BY model_name
ORDER BY model_name;
