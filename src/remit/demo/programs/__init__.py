"""Programs that the demo's scripted agent writes into its workspace and runs: standalone, standard library first."""
