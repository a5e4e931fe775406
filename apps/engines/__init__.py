"""Talking to models: one step is an async generator of typed events. Knows neither database nor Redis nor Django."""
