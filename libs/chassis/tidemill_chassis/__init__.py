"""What every service stands on. It knows no event of Tidemill and could serve strangers."""
