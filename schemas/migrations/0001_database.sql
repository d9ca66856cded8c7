-- The database that everything of Waybill lives in.
CREATE DATABASE IF NOT EXISTS waybill;
