"""How the drawn data set ``battery_plate`` is drawn; not a data set itself."""
