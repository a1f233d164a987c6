//! What runs on a sensor host: the updater and the sensor.
