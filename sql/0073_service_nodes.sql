-- Of a panel of Marzban: its nodes over time, JSON; so that one that comes and goes is one alert.
ALTER TABLE service_states ADD COLUMN nodes TEXT NOT NULL DEFAULT '[]';
