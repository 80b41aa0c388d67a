from boot import loader

loader.main()
