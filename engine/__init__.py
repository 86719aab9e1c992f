"""Floor 3: builds, jobs and the engines that run them."""
