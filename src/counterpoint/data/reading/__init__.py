"""Reading what files hold into raw forms: sounds, films, series and the recordings of clinics."""
