module aegis

go 1.24
