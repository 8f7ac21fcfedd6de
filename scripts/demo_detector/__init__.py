"""How the demo models are made and measured; ``scripts/train_demo_detector.py`` runs it."""
