"""What a project declares: `holdfast.config.loader`, `schema`, `validation`. Import from the modules; this one is light."""
